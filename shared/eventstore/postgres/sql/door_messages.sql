select :door(d)
  from :schema.door_messages d where tenant = $1 and workflow = $2 and (causation_id = any($3::uuid[]) or $3::uuid[] = '{}')

select :entry(e) from :schema.inbox e where tenant = $1 and workflow = $2 and stream = $3 order by sequence

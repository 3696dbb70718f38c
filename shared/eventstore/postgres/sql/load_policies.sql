select p.service, p.version, p.data
  from :schema.policies p join unnest($1::text[], $2::text[]) as w(service, version) using (service, version)

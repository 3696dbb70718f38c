insert into :schema.attempts as a (at, attempts, service, topic, partition, "offset")
select now(), $5, $1, r.* from unnest($2::text[], $3::int[], $4::bigint[]) as r(topic, partition, "offset") order by 4, 5, 6
    on conflict (service, topic, partition, "offset") do update set attempts = a.attempts + $5, at = now()
returning topic, partition, "offset", attempts

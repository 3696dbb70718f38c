select coalesce(extract(epoch from now() - (
           select at from :schema.streams
            where split_part(stream, '/', 1) = $1::text and published < version order by at limit 1)), 0)::float8

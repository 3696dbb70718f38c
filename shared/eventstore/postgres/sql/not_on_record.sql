-- The numbers, from 1 on, of the claims that are not on the record.
select c.o from unnest(:claim_types) with ordinality as c(:claim_columns, o) where not :has_claim(c)

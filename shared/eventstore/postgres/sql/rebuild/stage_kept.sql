-- The first record of each partition that has lost some to retention.
create temp table kept (topic text, partition int, first_offset bigint, at timestamptz)

-- Each message from outside once, the first of several with one body, under its own id.
create temp table received on commit drop as
select distinct on (own_id) *
  from (select s.*,
               case when hash = first_value(hash) over (partition by causation_id order by n) then causation_id else reused_id end
               as own_id
          from staged_door_messages s) as s
 order by own_id, n;
alter table received drop column causation_id;
alter table received rename column own_id to causation_id;
analyze received;
analyze :schema.messages -- else what follows is planned for empty tables

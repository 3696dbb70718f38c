-- Each message from outside once, under the id that it has on the record. An identity belongs to the workflow in which messages
-- answer it, else to the one that the brokers received first; in every other it has an id of its own. Of several with one id and
-- other bodies the first has that id, and the others have ids of their own.
create temp table received on commit drop as
with owner as (
    select distinct on (s.tenant, s.causation_id) s.tenant, s.causation_id, s.workflow
      from staged_door_messages s
      left join (select distinct tenant, workflow, causation_id from :schema.messages) m using (tenant, workflow, causation_id)
     order by s.tenant, s.causation_id, m.causation_id is null, s.broker_at, s.n
),
named as (
    select s.*,
           case when o.workflow = s.workflow then s.causation_id else elsewhere_id end as first_id,
           case when o.workflow = s.workflow then s.reused_id else elsewhere_reused_id end as later_id
      from staged_door_messages s join owner o using (tenant, causation_id)
)
select distinct on (own_id) *
  from (select *, case when hash = first_value(hash) over (partition by first_id order by n) then first_id else later_id end as own_id
          from named) as s
 order by own_id, n;
alter table received drop column causation_id;
alter table received rename column own_id to causation_id;
analyze received;
analyze :schema.messages -- else what follows is planned for empty tables

select "pg_catalog"."now"(), U&"pg_adv\0069sory_lock"(1), a operator(mine.+) b, 'x'::mine[], cast(? as app.mine), E'a\'b', data ??| array['x'] from pg_temp.t, pg_settings

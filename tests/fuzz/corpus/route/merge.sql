merge into t using s on t.a = s.a when matched and 1 then update set a = 1 when matched then delete when not matched then insert (a) values (1)

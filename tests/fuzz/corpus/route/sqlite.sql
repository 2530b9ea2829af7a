with t as (select last_insert_rowid(), [changes], `a`, :b from temp.x) replace into t select ?1; pragma user_version

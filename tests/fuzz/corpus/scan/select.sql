SELECT a, 'it''s', E'\'?', $$ ; $$ FROM t WHERE x = ? AND y ?? 'k' -- ?

select * into temp t from x

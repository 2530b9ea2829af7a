select 1; -- x
begin /* ; */; set x = 1

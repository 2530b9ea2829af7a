select ((((((((((1+-+- 1::int)[1]).a)))))))) , not not case when case a when 1 then 2 end isnull then array[[1]] end at time zone 'x' between 1 and 2

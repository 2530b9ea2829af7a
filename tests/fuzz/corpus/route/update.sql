update only t * set a = default, (b, c) = row (1, 2) from u where current of d returning (x).y

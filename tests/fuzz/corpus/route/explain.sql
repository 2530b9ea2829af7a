explain (analyze, costs off) delete from t

select xmltable.* from t, xmltable(xmlnamespaces('a' as b), '/a' passing by ref x columns c int path 'd' default f(), e for ordinality)

module cpcd.test/programs

go 1.25.0

# The first program of README.md is examples/first_pick.cpp, word for word: cmake -D ROOT=... -P

file(READ ${ROOT}/README.md readme)
file(READ ${ROOT}/examples/first_pick.cpp program)
string(FIND "${program}" "#include" start)
string(SUBSTRING "${program}" ${start} -1 program)
string(FIND "${readme}" "```cpp\n${program}```" found)
if(found EQUAL -1)
  message(FATAL_ERROR "README.md does not show examples/first_pick.cpp as it is; copy it there")
endif()

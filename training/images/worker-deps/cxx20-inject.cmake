# Read by CMake right after Horovod's project(): "C++14" now means what torch 2.13 is built with.
set(CMAKE_CXX14_STANDARD_COMPILE_OPTION "-std=c++20")
# No debug information: it costs a quarter of the build's time and is stripped from the wheel anyway.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -DNDEBUG")

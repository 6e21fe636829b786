# Read by CMake right after Horovod's project(): "C++14" now means what torch 2.13 is built with.
set(CMAKE_CXX14_STANDARD_COMPILE_OPTION "-std=c++20")

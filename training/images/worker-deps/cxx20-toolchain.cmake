# Horovod 0.28.1 asks CMake for C++14, torch >= 2.1 needs newer, and CMake appends -std= after CXXFLAGS.
# A toolchain file is the one place that can speak before Horovod's own project() call.
set(CMAKE_PROJECT_horovod_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/cxx20-inject.cmake")

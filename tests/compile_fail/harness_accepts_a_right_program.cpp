// compiles
#include <poise/poise.hpp>

int main() {}

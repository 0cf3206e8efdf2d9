// SPDX-License-Identifier: MIT
// Every policy that has a name, compiled once: the source of the CMake target poise::named, or one
// more source of a program that is built without CMake.

#include <poise/compose/named.hpp>

template struct poise::detail::PolicyCatalogue<poise::AnyPolicy>;

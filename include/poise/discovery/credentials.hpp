// SPDX-License-Identifier: MIT
#pragma once

// What a registry asks for before it answers.

#include <functional>
#include <string>

namespace poise::inline v0_1_0::discovery {

/// Functions are called for each full look, since secrets are renewed; one that throws fails the
/// look. What is empty is taken from the environment; see source_named().
struct Credentials {
  std::function<std::string()> token{};  ///< Of Consul and Kubernetes.
  std::string user{};                    ///< Of etcd, with its password.
  std::function<std::string()> password{};
};

}  // namespace poise::inline v0_1_0::discovery

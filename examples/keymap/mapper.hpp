// SPDX-License-Identifier: MIT
#pragma once

// Which backend does a key go to? Behind one interface, for the dialect named on the command line.

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <poise/endpoint.hpp>

namespace keymap {

/// Something on the command line or in a file is wrong; the message says what and where.
class Wrong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Mapper {
 public:
  virtual ~Mapper() = default;

  virtual void drain(std::string const& id) = 0;
  [[nodiscard]] virtual std::string backend_of(std::string_view key) = 0;
  /// Of the whole space of hashes, by backend in order.
  [[nodiscard]] virtual std::vector<double> shares() = 0;
};

/// `spec` is "name" or "name:option=value,...". *Errors* Wrong; poise::ConfigError.
std::unique_ptr<Mapper> make_mapper(std::string const& spec,
                                    std::vector<poise::Endpoint> const& backends);

/// The dialects and their options, for --help.
std::string describe_dialects();

}  // namespace keymap

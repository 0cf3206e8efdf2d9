// SPDX-License-Identifier: MIT
#pragma once

// The command line of discover: a source as text, and what to do with it.

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <poise/discovery/curl/registration_named.hpp>
#include <poise/discovery/feed.hpp>
#include <poise/discovery/source.hpp>

namespace discover {

/// A command line that can't be obeyed; what() says what would be right.
class Wrong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// --write nginx:PATH#NAME or haproxy:PATH#NAME
struct ProxyTarget {
  enum class Kind { nginx, haproxy } kind = Kind::nginx;
  std::string path{};
  std::string name{};
  std::string policy = "smooth_weighted";
};

struct Options {
  std::vector<std::string> sources{};
  poise::discovery::FeedOptions feed{};
  bool watch = false;
  bool balancer = false;   ///< Print what a balancer makes of each list.
  bool registers = false;  ///< `discover register`: the only source is where to.
  std::string address{};   ///< To register.
  unsigned ttl = 10;       ///< Of the entry, in seconds.
  std::optional<ProxyTarget> write{};
  std::string run{};  ///< A command, after each file that was written.
  bool help = false;
};

/// The words after the program's name. *Errors* Wrong; examples::BadOption.
Options parse(std::vector<std::string> words);

/// "file:PATH", "consul:http://H:P/SERVICE" ... *Errors* Wrong; ConfigError.
std::unique_ptr<poise::discovery::Source> make_source(std::string const& text);

/// What `discover register` keeps. *Errors* Wrong.
poise::discovery::NamedEntry make_entry(Options const& options);

extern char const* const usage;

}  // namespace discover

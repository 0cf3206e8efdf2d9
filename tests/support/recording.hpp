// SPDX-License-Identifier: MIT
#pragma once

// Mappings that other systems were recorded with: tests/vectors/.

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/endpoint.hpp>

#include "servers.hpp"

namespace tests {

/// The lines of a file in tests/vectors/.
inline std::vector<std::string> recorded_lines(std::string const& name) {
  std::string path{__FILE__};  // .../tests/support/recording.hpp
  for (int up = 0; up < 2; ++up) path.erase(path.rfind('/'));
  path += "/vectors/" + name;
  std::ifstream file{path};
  if (!file) throw std::runtime_error{"can't read " + path};
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

inline std::vector<std::string> const& recorded_keys() {
  static auto const keys = recorded_lines("keys.txt");
  return keys;
}

/// A line's first word and the rest of it.
inline std::pair<std::string, std::string> first_word(std::string const& line) {
  auto const end = line.find(' ');
  if (end == std::string::npos) return {line, {}};
  return {line.substr(0, end), line.substr(end + 1)};
}

/// A recorded configuration and where each of the keys went.
struct Recording {
  std::vector<poise::Endpoint> servers{};
  std::vector<std::string> down{};
  std::vector<std::size_t> expect{};
};

/// "name weight [id=N] [guid=TEXT] [addr=HOST:PORT] [down]".
inline void add_recorded_server(Recording& recording, std::string const& text) {
  std::istringstream words{text};
  poise::Endpoint server;
  words >> server.id >> server.weight;
  server.address = server.id;
  for (std::string word; words >> word;) {
    auto const equals = word.find('=');
    if (word == "down") recording.down.push_back(server.id);
    else if (word.starts_with("addr=")) server.address = word.substr(equals + 1);
    else server.labels.push_back({word.substr(0, equals), word.substr(equals + 1)});
  }
  recording.servers.push_back(std::move(server));
}

inline Recording recorded(std::string const& name) {
  Recording recording;
  bool expecting = false;
  for (auto const& line : recorded_lines(name)) {
    auto const [word, rest] = first_word(line);
    if (word == "server") {
      add_recorded_server(recording, rest);
    } else if (word == "expect") {
      expecting = true;
    } else if (expecting && recording.servers.size() <= 36) {
      for (char const digit : line)
        recording.expect.push_back(
            static_cast<std::size_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10));
    } else if (expecting) {
      std::istringstream numbers{line};
      for (std::size_t number = 0; numbers >> number;) recording.expect.push_back(number);
    }
  }
  return recording;
}

/// How many keys reach another server than the recorded one, through a balancer like a user's.
template <class P>
std::size_t misses(Recording const& recording, P const& policy,
                   std::vector<std::string> const& keys = recorded_keys()) {
  auto balancer = servers_with(policy, recording.servers);
  for (auto const& id : recording.down) balancer.drain(id);
  std::size_t missed = keys.size() == recording.expect.size() ? 0 : keys.size();
  for (std::size_t i = 0; missed == 0 || i < keys.size(); ++i) {
    if (i == keys.size()) break;
    auto lease = balancer.pick({.route_key = keys[i]});
    if (!lease || lease->id() != recording.servers[recording.expect[i]].id) ++missed;
    lease.finish();
  }
  return missed;
}

}  // namespace tests

// SPDX-License-Identifier: MIT
#pragma once

// A configuration with every table, for tests that change it.

#include <string_view>

namespace tests {

inline constexpr std::string_view full_config = R"toml(
name = "orders"
x-owner = "the team that wrote this"

[[backends]]
id = "a"
address = "10.0.0.1:80"
weight = 2
zone = "eu-1a"
labels = {disk = "ssd", "rack.no" = "7"}

[[backends]]
address = "[::1]:80"
tier = 1
max_in_flight = 50

[policy]
name = "zone_aware"
local = "eu-1a"
policy = {name = "p2c", load = {name = "peak_ewma", window = 10.5, timeout = "3s"}}

[health]
interval = "5s"
history = 32

[health.ejection]
base = "15s"
max = "2m"
max_ejected = "40%"

[health.slow_start]
window = "1m30s"

[health.panic]
mode = "closed"

[health.latency]
enforce = 0.5
degrade = true

[probe]
kind = "http"
path = "/up"
interval = "2s"
timeout = "500ms"

[retry]
attempts = 4
on = "timeout+connect_timeout"
hedge_percentile = 0.95

[limits]
max_in_flight = 200
max_waiting = 10

[limits.adaptive]
enabled = true
tolerance = 2

[load_reports]
enabled = true
blackout = "3s"
max_ratio = 4.5

[metrics]
listen = "127.0.0.1:9100"
histograms = true

[alerts]
enabled = true
success = "99.5%"
latency = "0.2s"

[gateway]
listen = "0.0.0.0:8080"
idle_timeout = "75s"
forwarded = "both"
route_key = "cookie:user"
)toml";

}  // namespace tests

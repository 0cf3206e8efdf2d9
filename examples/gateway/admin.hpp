// SPDX-License-Identifier: MIT
#pragma once

// The pages for operators, on a port of their own: the balancer's, with the gateway's counts.

#include <poise/observe/handler.hpp>

#include "worker.hpp"

namespace gateway {

/// The service's pages, and /gateway for the counts. Both must outlive it.
[[nodiscard]] poise::observe::Handler admin_pages(Service const& service, Shared const& shared);

}  // namespace gateway

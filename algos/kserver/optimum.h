/// The cheapest schedule when all requests are known: offline k-server.
///
/// Min-cost flow (Chrobak, Karloff, Payne & Vishwanathan 1991), solved as an assignment: each request gets
/// one predecessor, a server's start or an earlier request, and each of those has at most one successor.
/// One server that serves everything is where it starts; each further server is one shortest augmenting
/// path (Dijkstra on reduced costs), so after j servers the schedule is optimal for j servers. Exact.
///
///   dense           every earlier request may precede                 T^2 / 2 arcs    O(k T^2) time
///   time-expanded   at each time only the last request of each point  at most nT arcs O(k n T log T) time
///                   may: the layered network (points x times) with its hold arcs contracted. A server that
///                   stands on the point just requested serves it; the triangle inequality shows that
///                   nothing is lost.
///   auto            time-expanded when the sequence has at most T^2 / 8 such arcs, else dense.
///
/// n counts the different points requested; k servers, T requests; O(T + points) memory in both forms.
#pragma once

#include "algos/kserver/schedule.h"

namespace tessera::kserver {

enum class Form { kAuto, kDense, kTimeExpanded };

struct Optimum {
  Schedule schedule;
  Distance cost = 0;
  Form form = Form::kAuto;  // the one used
};

/// Errors    those of check_instance.
Result<Optimum> optimum(const Metric& metric, const Instance& instance, Form form = Form::kAuto);

}  // namespace tessera::kserver

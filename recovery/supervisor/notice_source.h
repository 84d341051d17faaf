/// Notices that a machine will be taken away: from the cloud's metadata service, or left in a file.
///
/// AWS   PUT /latest/api/token, then GET /latest/meta-data/spot/instance-action with it:
///       {"action": "terminate", "time": "2026-11-24T18:02:00Z"}; 404 while there is no notice.
/// GCP   GET /computeMetadata/v1/instance/preempted with Metadata-Flavor: Google: "TRUE" or "FALSE". The
///       machine is gone 30 s later.
/// File  <state>/notices/<node>: seconds of the epoch when the node is taken, or "back" when it is there
/// again.
///       Whatever runs on that node may write it: tessera-run notice, tessera-run agent.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "algos/base/status.h"
#include "recovery/membership/membership.h"

namespace tessera::recovery {

enum class Cloud : std::uint8_t { kNone, kAws, kGcp };
[[nodiscard]] Result<Cloud> parse_cloud(const std::string& name);  // none, aws, gcp

struct MetadataService {
  Cloud cloud = Cloud::kNone;
  std::string address;  // "http://169.254.169.254"; empty: the cloud's own
  double timeout_s = 2;
};

/// Asks once; nullopt: no notice. Blocks for at most twice the timeout.
/// Errors    kUnavailable: the service did not answer as it should.
[[nodiscard]] Result<std::optional<Time>> ask_for_notice(const MetadataService& service, Time now);

/// The answers' bodies, pure. kDataLoss: they are not what the cloud documents.
[[nodiscard]] Result<std::optional<Time>> parse_aws_action(const std::string& body);
[[nodiscard]] Result<std::optional<Time>> parse_gcp_preempted(const std::string& body, Time now);

/// When the node is taken; nullopt: it is back.
using NodeNotice = std::optional<Time>;
[[nodiscard]] Status leave_notice(const std::string& state_folder, const std::string& node,
                                  NodeNotice notice);
/// By node. A file that holds neither is taken as "taken at once".
[[nodiscard]] std::map<std::string, NodeNotice> read_notices(const std::string& state_folder);
/// Once it has been acted upon.
void forget_notice(const std::string& state_folder, const std::string& node);

}  // namespace tessera::recovery

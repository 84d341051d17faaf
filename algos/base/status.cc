#include "algos/base/status.h"

namespace tessera {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk: return "ok";
    case Code::kInvalidArgument: return "invalid argument";
    case Code::kNotFound: return "not found";
    case Code::kDataLoss: return "data loss";
    case Code::kFailedPrecondition: return "failed precondition";
    case Code::kResourceExhausted: return "resource exhausted";
    case Code::kDeadlineExceeded: return "deadline exceeded";
    case Code::kUnavailable: return "unavailable";
    case Code::kIoError: return "input/output error";
    case Code::kInternal: return "internal error";
  }
  return "unknown";
}

Status bad_input(const Complaint& complaint, Code code) {
  std::string text = complaint.file;
  if (!complaint.field.empty()) text += (text.empty() ? "" : ": ") + complaint.field;
  const auto line = [&text](std::string_view label, const std::string& what) {
    if (!what.empty()) text += "\n  " + std::string(label) + what;
  };
  line("found     ", complaint.found);
  line("expected  ", complaint.expected);
  line("remedy    ", complaint.remedy);
  return {code, text};
}

}  // namespace tessera

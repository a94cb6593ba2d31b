#include "tokenizer/bridge.h"

#include "base/error.h"

namespace candela {

void check_bridge(CandelaStatus status, std::string_view what, const BridgeString& reason) {
  switch (status) {
    case CANDELA_OK:
      return;
    case CANDELA_BAD_INPUT:
      fail(ErrorKind::InvalidArgument, Subject::Input,
           "{} refuses the text: {}; correct the input.", what, reason.view());
    case CANDELA_BAD_MODEL:
      fail(ErrorKind::CorruptData, Subject::Model,
           "{} is malformed: {}; download the model's files again.", what, reason.view());
    case CANDELA_LIMIT:
      fail(ErrorKind::CorruptData, Subject::Model,
           "{} is stopped at a limit: {}; it does not look like one of a published model.", what,
           reason.view());
    case CANDELA_UNSUPPORTED:
      fail(ErrorKind::Unsupported, Subject::Model,
           "{} is not supported: {}; candela reads byte-level BPE tokenizers.", what,
           reason.view());
    case CANDELA_PANIC:
      break;
  }
  fail(ErrorKind::Internal, Subject::Model,
       "{} makes the text engine fail: {}; report it with the model's name.", what, reason.view());
}

}  // namespace candela

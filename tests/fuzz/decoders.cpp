// SPDX-License-Identifier: Apache-2.0
#include "decoders.h"

namespace lamina::fuzz {

std::vector<Decoder> all_decoders() {
  std::vector<Decoder> all;
  for (const auto some :
       {decoders_of_blobs(), decoders_of_engine(), decoders_of_config(), decoders_of_requests()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

const Decoder* find_decoder(std::string_view name) {
  static const std::vector<Decoder> all = all_decoders();
  for (const Decoder& decoder : all)
    if (name == decoder.name) return &decoder;
  return nullptr;
}

}  // namespace lamina::fuzz

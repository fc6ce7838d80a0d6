// SPDX-License-Identifier: Apache-2.0
#include "decoders.h"

namespace lamina::fuzz {

std::vector<Decoder> all_decoders() {
  std::vector<Decoder> all;
  for (const auto some : {decoders_of_blobs(), decoders_of_engine(), decoders_of_config()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

const Decoder* find_decoder(std::string_view name) {
  for (const auto some : {decoders_of_blobs(), decoders_of_engine(), decoders_of_config()})
    for (const Decoder& decoder : some)
      if (name == decoder.name) return &decoder;
  return nullptr;
}

}  // namespace lamina::fuzz

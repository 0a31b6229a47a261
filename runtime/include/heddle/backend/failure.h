// How a backend reports failure: throw; the kit turns it into the status of the call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "heddle/device_abi.h"

namespace heddle::backend {

// What a backend throws; becomes the status of the call.
class Failure : public std::runtime_error {
 public:
  Failure(hd_code code, const std::string& text) : std::runtime_error(text), code_(code) {}
  hd_code code() const noexcept { return code_; }

 private:
  hd_code code_;
};

// Copies a text into the field `to` of `most` bytes that ends a struct of `size` bytes at `offset`, cut to
// fit: a caller built against an older header gives a shorter struct.
inline void copy_text(char* to, uint32_t size, size_t offset, size_t most, std::string_view text) noexcept {
  if (size <= offset) return;
  const size_t n = std::min({text.size(), size - offset - 1, most - 1});
  std::memcpy(to, text.data(), n);
  to[n] = 0;
}

inline int32_t fill_status(hd_status* status, int32_t code, const char* text) noexcept {
  if (status != nullptr) {
    status->code = code;
    copy_text(status->text, status->size, offsetof(hd_status, text), sizeof(status->text), text);
  }
  return code;
}

// Runs `body` and turns anything thrown into a status.
template <class Body>
int32_t guarded(hd_status* status, Body&& body) noexcept {
  try {
    body();
    return HD_OK;
  } catch (const Failure& f) {
    return fill_status(status, f.code(), f.what());
  } catch (const std::bad_alloc&) {
    return fill_status(status, HD_ERROR_OUT_OF_MEMORY, "the host is out of memory");
  } catch (const std::exception& e) {
    return fill_status(status, HD_ERROR_DEVICE, e.what());
  } catch (...) {
    return fill_status(status, HD_ERROR_INTERNAL, "the backend threw something that is no std::exception");
  }
}

}  // namespace heddle::backend

// How a backend reports failure: throw; the kit turns it into the status of the call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

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

// Bytes of the text that ends a struct of `size` bytes at `offset`: a caller built against an older header
// has fewer.
inline size_t text_bytes(uint32_t size, size_t offset, size_t most) noexcept {
  return size > offset ? std::min<size_t>(size - offset, most) : 0;
}

inline int32_t fill_status(hd_status* status, int32_t code, const char* text) noexcept {
  if (status != nullptr) {
    status->code = code;
    std::snprintf(status->text, text_bytes(status->size, offsetof(hd_status, text), sizeof(status->text)),
                  "%s", text);
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

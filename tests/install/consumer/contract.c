#include "heddle/device_abi.h"

int contract_major(void) { return (int)HD_ABI_MAJOR; }

"""Prints the Vulkan devices that the loader offers under the present environment, one a line.

Exit status 0 when there is at least one. Used by scripts/setup to prove an unpacked driver.
"""
import ctypes
import sys

STRUCTURE_TYPE_INSTANCE_CREATE_INFO = 1
PROPERTIES_BYTES = 1024  # VkPhysicalDeviceProperties is 824 bytes
NAME_OFFSET = 20         # behind five uint32: versions, vendor, device, type


class InstanceCreateInfo(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("next", ctypes.c_void_p), ("flags", ctypes.c_uint32),
                ("application", ctypes.c_void_p), ("layer_count", ctypes.c_uint32),
                ("layers", ctypes.c_void_p), ("extension_count", ctypes.c_uint32),
                ("extensions", ctypes.c_void_p)]


def main():
    vulkan = ctypes.CDLL("libvulkan.so.1")
    instance = ctypes.c_void_p()
    info = InstanceCreateInfo(type=STRUCTURE_TYPE_INSTANCE_CREATE_INFO)
    status = vulkan.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance))
    if status != 0:
        sys.exit(f"vkCreateInstance gives {status}; no Vulkan driver can be loaded")
    count = ctypes.c_uint32(0)
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    devices = (ctypes.c_void_p * count.value)()
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
    for device in devices:
        raw = ctypes.create_string_buffer(PROPERTIES_BYTES)
        vulkan.vkGetPhysicalDeviceProperties(ctypes.c_void_p(device), raw)
        print(raw.raw[NAME_OFFSET:NAME_OFFSET + 256].split(b"\0")[0].decode())
    sys.exit(0 if count.value else 1)


if __name__ == "__main__":
    main()

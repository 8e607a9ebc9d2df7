/* A libnvidia-ml.so.1 without a card: what it tells, the file named by NVML_STUB says, in words such as "cards=2".
 *
 * cards=N    how many there are          lost=I     card I has fallen off the bus: nothing but its handle is left
 * silent=I   not even a handle is left   mig=I      card I is cut into two parts
 * used=B     what memory v1 says is used     own=B      what this process has of a card
 * xid=C      the driver reports error C of card 0, once
 * With -DOLD it is a library from before memory v2, clocks event reasons and MIG, which has no such symbols.
 * With -DNO_DRIVER nvmlInit says that the driver is not loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15 };
enum { MOST = 8 };

struct device { int card, part; };
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
struct rates { unsigned gpu, memory; };
struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };
struct event { struct device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

static struct device cards[MOST], parts[MOST][2];
static int listens, xids_told;

static int setting(const char *name, int otherwise) {
    char text[256] = {0};
    FILE *file = fopen(getenv("NVML_STUB"), "r");
    if (!file) return otherwise;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n"))
        if (!strncmp(word, name, strlen(name)) && word[strlen(name)] == '=') return atoi(word + strlen(name) + 1);
    return otherwise;
}

static int ill(struct device *device) { return setting("lost", -1) == device->card ? GPU_IS_LOST : OK; }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
#ifdef NO_DRIVER
    return DRIVER_NOT_LOADED;
#endif
    for (int i = 0; i < MOST; i++) {
        cards[i] = (struct device){i, -1};
        for (int j = 0; j < 2; j++) parts[i][j] = (struct device){i, j};
    }
    return OK;
}

int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int result) { (void)result; return "an error of the stub"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)setting("cards", 0); return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    if (setting("silent", -1) == (int)index) return GPU_IS_LOST;
    *device = &cards[index];
    return OK;
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length) {
    if (device->part < 0) snprintf(uuid, length, "GPU-%d", device->card);
    else snprintf(uuid, length, "MIG-%d-%d", device->card, device->part);
    return OK;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device) {
    int card = 0;
    if (sscanf(uuid, "GPU-%d", &card) != 1 || card >= setting("cards", 0)) return NOT_FOUND;
    *device = &cards[card];
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(struct device *device, unsigned *count, struct process *processes) {
    int own = setting("own", 0);
    if (own && *count < 2) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = own ? 2 : 0;
    if (own) processes[0] = (struct process){1, 7, 0, 0};
    if (own) processes[1] = (struct process){(unsigned)getpid(), (unsigned long long)own, 0, 0};
    return ill(device);
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned length) {
    snprintf(name, length, device->part < 0 ? "NVIDIA Stub" : "NVIDIA Stub MIG 1g.5gb");
    return ill(device);
}

int nvmlDeviceGetMemoryInfo(struct device *device, struct memory *memory) {
    unsigned long long used = (unsigned long long)setting("used", 400);
    *memory = (struct memory){1000, 1000 - used, used};
    return ill(device);
}

int nvmlDeviceGetUtilizationRates(struct device *device, struct rates *rates) {
    if (device->part >= 0) return NOT_SUPPORTED;
    *rates = (struct rates){37, 5};
    return ill(device);
}

int nvmlDeviceGetTemperature(struct device *device, int sensor, unsigned *celsius) {
    (void)sensor;
    if (device->part >= 0) return NOT_SUPPORTED;
    *celsius = 41;
    return ill(device);
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *milliwatts) {
    if (device->part >= 0) return NOT_SUPPORTED;
    *milliwatts = 71500;
    return ill(device);
}

int nvmlDeviceGetTotalEccErrors(struct device *device, int kind, int counter, unsigned long long *count) {
    (void)counter;
    if (device->part >= 0) return NOT_SUPPORTED;
    *count = kind ? 2 : 7;
    return ill(device);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons) {
    if (device->part >= 0) return NOT_SUPPORTED;
    *reasons = 0x01;
    return ill(device);
}

#ifndef OLD
int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *memory) {
    if (memory->version != (2u << 24 | sizeof(struct memory_v2))) return NOT_SUPPORTED;
    memory->total = device->part < 0 ? 1000 : 250;
    memory->reserved = 50;
    memory->used = device->part < 0 ? 350 : 100;
    memory->free = memory->total - memory->reserved - memory->used;
    return ill(device);
}

int nvmlDeviceGetCurrentClocksEventReasons(struct device *device, unsigned long long *reasons) {
    if (device->part >= 0) return NOT_SUPPORTED;
    *reasons = 0x04 | 0x40 | 0x01;
    return ill(device);
}

int nvmlDeviceGetMigMode(struct device *device, unsigned *current, unsigned *pending) {
    *current = *pending = setting("mig", -1) == device->card;
    return ill(device);
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) { (void)device; *count = 7; return OK; }

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **part) {
    if (index >= 2) return NOT_FOUND;
    *part = &parts[device->card][index];
    return OK;
}
#endif

int nvmlEventSetCreate(void **set) { *set = &listens; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }

int nvmlDeviceRegisterEvents(struct device *device, unsigned long long types, void *set) {
    (void)set;
    if (types == 8) listens |= 1 << device->card;
    return OK;
}

int nvmlEventSetWait_v2(void *set, struct event *event, unsigned timeout_ms) {
    (void)set;
    (void)timeout_ms;
    int code = setting("xid", 0);
    if (code && !xids_told && listens & 1) {
        xids_told = 1;
        *event = (struct event){&cards[0], 8, (unsigned long long)code, 0, 0};
        return OK;
    }
    usleep(10000);
    return TIMEOUT;
}

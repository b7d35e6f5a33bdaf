/* Runs a fuzz target without libFuzzer: every file of the seed directories, every truncation of
 * small ones, and a bounded number of deterministic mutations. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEED_MAX ((size_t)64 << 10)
#define ROUNDS 2000u
#define TRUNCATIONS_MAX 4096u

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A copy on the heap of exactly that size, so that a sanitizer sees reads beyond it. */
static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_seed(const uint8_t *seed, size_t size)
{
    run_copy(seed, size);
    size_t step = size / TRUNCATIONS_MAX + 1;
    for (size_t n = 0; n < size; n += step)
        run_copy(seed, n);
    uint64_t state = 0x9e3779b97f4a7c15u ^ size;
    uint8_t *mutant = malloc(size ? size : 1);
    if (!mutant)
        abort();
    for (unsigned round = 0; round < ROUNDS && size; round++) {
        memcpy(mutant, seed, size);
        unsigned changes = 1 + (unsigned)(next_random(&state) % 4);
        for (unsigned i = 0; i < changes; i++)
            mutant[next_random(&state) % size] = (uint8_t)next_random(&state);
        run_copy(mutant, size);
    }
    free(mutant);
}

static void run_file(const char *path)
{
    static uint8_t seed[SEED_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = fread(seed, 1, sizeof seed, file);
    fclose(file);
    run_seed(seed, size);
}

static unsigned run_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    unsigned files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char file[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        run_file(file);
        files++;
    }
    closedir(dir);
    return files;
}

int main(int argc, char **argv)
{
    unsigned files = 0;
    for (int i = 1; i < argc; i++)
        files += run_directory(argv[i]);
    uint8_t noise[256];
    uint64_t state = 0x1234567u;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t size = next_random(&state) % sizeof noise;
        for (size_t i = 0; i < size; i++)
            noise[i] = (uint8_t)next_random(&state);
        run_copy(noise, size);
    }
    printf("%u seeds, no crash\n", files);
    return 0;
}

/* Says how small zlib makes a text that repeats itself. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

int main(void)
{
    unsigned char text[10000], packed[10000];
    uLongf size = sizeof packed;

    memset(text, 'z', sizeof text);
    if (compress(packed, &size, text, sizeof text) != Z_OK)
        return 1;
    printf("zlib %s: %zu bytes deflated to %lu\n", zlibVersion(), sizeof text, (unsigned long)size);
    return 0;
}

/* Settings, as `outband run` passes them on: in the environment. */
#include "shim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings settings;

/* Tells the user something, in one write(2). */
void say(const char *format, ...)
{
	char line[512];
	int n = snprintf(line, sizeof line, "outband: %s[%d]: ", program_invocation_short_name, (int)getpid());
	va_list args;

	va_start(args, format);
	n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
	va_end(args);
	if (n > (int)sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	if (real()->write(lib.terminal > 0 ? lib.terminal : STDERR_FILENO, line, (size_t)n) < 0)
		return; /* there is nobody to tell */
}

/* A length of time: "50us", "1.5ms", "always", "never", "adaptive". */
static int64_t spin_of(const char *s)
{
	static const struct { const char *unit; double ns; } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
	char *end;
	double n;

	if (!s || !*s || !strcmp(s, "adaptive") || !strcmp(s, "default"))
		return OB_SPIN_ADAPTIVE;
	if (!strcmp(s, "always"))
		return OB_SPIN_ALWAYS;
	if (!strcmp(s, "never"))
		return OB_SPIN_NEVER;
	n = strtod(s, &end);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (!strcmp(end, units[i].unit) && n >= 0 && n * units[i].ns < 1e18)
			return (int64_t)(n * units[i].ns);
	say("OUTBAND_SPIN=%s is no length of time; adaptive is taken", s);
	return OB_SPIN_ADAPTIVE;
}

static void read_ports(const char *s)
{
	char *end;
	long port;

	for (; s && *s; s = *end == ',' ? end + 1 : end) {
		port = strtol(s, &end, 10);
		if (end == s || (*end && *end != ',') || port < 1 || port > 65535 || settings.ports == (int)(sizeof settings.only / sizeof settings.only[0])) {
			say("OUTBAND_ONLY: not understood from \"%s\" on", s);
			return;
		}
		settings.only[settings.ports++] = (uint16_t)port;
	}
}

static const char *setting(const char *name)
{
	const char *s = getenv(name);

	return s && *s ? s : NULL;
}

void settings_read(void)
{
	const char *way = setting("OUTBAND_FORK");

	settings.device = setting("OUTBAND_DEV");
	settings.address = setting("OUTBAND_ADDR");
	if (settings.address && !strcmp(settings.address, "shared"))
		settings.address = NULL;
	settings.gateway = setting("OUTBAND_GATEWAY");
	settings.library = setting("OUTBAND_LIBRARY");
	settings.spin = spin_of(getenv("OUTBAND_SPIN"));
	settings.loopback = setting("OUTBAND_LOOPBACK") != NULL;
	settings.report = setting("OUTBAND_REPORT") != NULL;
	read_ports(getenv("OUTBAND_ONLY"));
	if (way && !strcmp(way, "inband"))
		settings.fork = FORK_INBAND;
	else if (way && !strcmp(way, "fail"))
		settings.fork = FORK_FAIL;
	else if (way && strcmp(way, "again"))
		say("OUTBAND_FORK=%s is none of again, inband, fail; again is taken", way);
}

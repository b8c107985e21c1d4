#ifndef SWIFTLET_CVERSION_H
#define SWIFTLET_CVERSION_H

// The version: what `git describe` said when Scripts/build ran, such as "0.2.0" or "0.2.0-14-g7be29a0"; without a tag,
// or without Scripts/build, the next release and what is known of the commit.
const char *swiftlet_version(void);

#endif

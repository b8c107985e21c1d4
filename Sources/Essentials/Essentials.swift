// FoundationEssentials: data, files, URLs, dates and JSON, without ICU. On Linux, all of Foundation would add 50 MB to
// a program. Import this module instead of either. What FoundationEssentials lacks and Swiftlet needs is in this
// folder.

#if canImport(FoundationEssentials)
  @_exported import FoundationEssentials
#else
  @_exported import Foundation
#endif

#if canImport(Glibc)
  @_exported import Glibc
#elseif canImport(Musl)
  @_exported import Musl
#else
  @_exported import Darwin
#endif

import Essentials

/// A date and time of day without a time zone, formatted like Python's naive `datetime`, for `strftime_now`.
package struct CivilTime: Sendable {
  package let year: Int
  /// 1 to 12.
  package let month: Int
  /// 1 to 31.
  package let day: Int
  package let hour: Int
  package let minute: Int
  package let second: Int
  package let microsecond: Int

  /// Creates a date and time. The month is clamped to 1...12.
  package init(
    year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0, microsecond: Int = 0
  ) {
    (self.year, self.month, self.day) = (year, min(max(month, 1), 12), day)
    (self.hour, self.minute, self.second, self.microsecond) = (hour, minute, second, microsecond)
  }

  /// The current local time.
  package static var now: CivilTime {
    var moment = timespec()
    clock_gettime(CLOCK_REALTIME, &moment)
    var local = tm()
    localtime_r(&moment.tv_sec, &local)
    return CivilTime(
      year: Int(local.tm_year) + 1900, month: Int(local.tm_mon) + 1, day: Int(local.tm_mday), hour: Int(local.tm_hour),
      minute: Int(local.tm_min), second: Int(local.tm_sec), microsecond: Int(moment.tv_nsec) / 1000)
  }

  private var isLeapYear: Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  /// The day of the year, from 1.
  private var dayOfYear: Int {
    let lengths = [31, isLeapYear ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return lengths.prefix(month - 1).reduce(day, +)
  }

  /// Days since Sunday.
  private var weekday: Int {
    let past = year - 1
    return (past * 365 + past / 4 - past / 100 + past / 400 + dayOfYear) % 7
  }

  /// The time in a `strftime` format. All codes and flags of the C library work, with English names.
  ///
  /// As in Python, `%f` is the microsecond, and `%z`, `%:z` and `%Z` are empty because there is no time zone.
  func formatted(_ format: String) -> String {
    // The text starts with a space, since `strftime` returns 0 both for an empty result and for a buffer that is too
    // small.
    let format = " " + resolvingPythonCodes(format)
    var time = tm()
    time.tm_year = Int32(clamping: year - 1900)
    time.tm_mon = Int32(clamping: month - 1)
    time.tm_mday = Int32(clamping: day)
    time.tm_hour = Int32(clamping: hour)
    time.tm_min = Int32(clamping: minute)
    time.tm_sec = Int32(clamping: second)
    time.tm_wday = Int32(clamping: weekday)
    time.tm_yday = Int32(clamping: dayOfYear - 1)
    time.tm_isdst = -1
    for size in [256, 4096, 1 << 20] {
      var buffer = [CChar](repeating: 0, count: size)
      let count = strftime(&buffer, size, format, &time)
      if count > 0 { return String(decoding: buffer[1..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) }
    }
    return ""
  }

  /// The format with the codes resolved that Python formats itself.
  private func resolvingPythonCodes(_ format: String) -> String {
    var result = ""
    var rest = format[...]
    while let character = rest.popFirst() {
      guard character == "%", let code = rest.first else {
        result.append(character)
        continue
      }
      if rest.hasPrefix(":z") {
        rest = rest.dropFirst(2)
        continue
      }
      rest = rest.dropFirst()
      switch code {
      case "f":
        let digits = String(microsecond)
        result += String(repeating: "0", count: max(0, 6 - digits.count)) + digits
      case "z", "Z": break
      default: result += "%\(code)"
      }
    }
    return result
  }
}

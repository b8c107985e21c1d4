import Diagnostics
import OrderedJSON

/// An error as OpenAI's clients expect it.
package struct APIError: Error {
  package var status: Int
  package var type: String
  package var message: String
  /// The member of the request at fault.
  package var parameter: String?
  package var code: String?

  /// 400: something about the request.
  package static func invalidRequest(_ message: String, parameter: String? = nil) -> APIError {
    APIError(status: 400, type: "invalid_request_error", message: message, parameter: parameter)
  }

  /// 404: no such path, model, file or job.
  package static func notFound(_ message: String, code: String? = nil) -> APIError {
    APIError(status: 404, type: "invalid_request_error", message: message, code: code)
  }

  /// 409: what is asked doesn't go with the present state.
  package static func conflict(_ message: String) -> APIError {
    APIError(status: 409, type: "invalid_request_error", message: message)
  }

  /// The response for any error.
  package static func response(to error: any Error) -> HTTPResponse {
    let error = APIError(error)
    return .json(error.json, status: error.status)
  }

  package var json: JSONValue {
    [
      "error": [
        "message": .string(message), "type": .string(type), "param": parameter.map { .string($0) } ?? nil,
        "code": code.map { .string($0) } ?? nil,
      ]
    ]
  }
}

extension APIError {
  /// What a client is told of any error; what isn't the client's fault is a 500.
  init(_ error: any Error) {
    let isRequest = error is SwiftletError
    self =
      error as? APIError
      ?? APIError(
        status: isRequest ? 400 : 500, type: isRequest ? "invalid_request_error" : "server_error",
        message: String(describing: error))
  }
}

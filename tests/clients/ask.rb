# net/http: the Content-Length that is set to nothing is replaced by the body's; a form's Content-Type.
require "net/http"

uri = URI(ARGV[0])
request = Net::HTTP::Post.new(uri, "Content-Length" => "")
request.body = ARGV[1]
print Net::HTTP.start(uri.host, uri.port) { |http| http.request(request) }.body

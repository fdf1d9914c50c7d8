import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;

/** OkHttp: text/plain; the Content-Length that is set to nothing is replaced by the body's. */
class Ask {
  public static void main(String[] args) throws Exception {
    RequestBody body = RequestBody.create(args[1], MediaType.get("text/plain"));
    Request request = new Request.Builder().url(args[0]).header("Content-Length", "").post(body).build();
    System.out.println(new OkHttpClient().newCall(request).execute().body().string());
    System.exit(0); // its threads would wait for a minute
  }
}

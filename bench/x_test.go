package bench_test
import ("testing";"time";"fmt";"github.com/millrace/millrace/bench")
func TestX(t *testing.T){
 url,_ := startEcho(t)
 for round:=0;round<3;round++ { for _, n := range []int{1,2} { for _, rate := range []float64{200, 2000,20000} {
  p:=bench.Plan{Scenario:bench.Rate,URL:url,Connections:100,Rate:rate,Loops:n,Warmup:200*time.Millisecond,Duration:time.Second}
  r:=runElsewhere(t,p)
  fmt.Printf("loops %d rate %.0f: p50 %.0f p99 %.0f max %.0f late p50 %.0f p99 %.0f cores %.2f server %.2f us\n",n,rate,r.Latency.Quantile(.5),r.Latency.Quantile(.99),r.Latency.Quantile(1),r.Client.Late.Quantile(.5),r.Client.Late.Quantile(.99),r.Client.Cores,r.Server.CPU)
 }}}
}
